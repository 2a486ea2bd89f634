// State that persists across reruns: the number of retries and the timer.
const countdowns = new WeakMap();

const MAX_RETRIES = 8;
const MAX_DELAY = 15; // seconds between two retries, unless the backend requests more

export default function ({ parentElement, setTriggerValue, data }) {
  let countdown = countdowns.get(parentElement);
  if (!countdown) countdowns.set(parentElement, (countdown = { retries: 0 }));
  countdown.fire = () => setTriggerValue("due", true);
  if (countdown.token !== data.token) {
    countdown.token = data.token;
    clearInterval(countdown.timer);
    run(countdown, data.seconds, parentElement.querySelector("p"));
  }
  return () => {
    clearInterval(countdown.timer);
    countdowns.delete(parentElement);
  };
}

function run(countdown, seconds, element) {
  if (countdown.retries >= MAX_RETRIES) {
    element.textContent = "Automatic retries have stopped.";
    return;
  }
  const { retries } = countdown;
  const wait = retries ? Math.max(seconds, Math.min(2 ** retries, MAX_DELAY)) : seconds;
  const due = Date.now() + 1000 * wait;
  const tick = () => {
    const left = Math.ceil((due - Date.now()) / 1000);
    if (left > 0) {
      element.textContent = `Retrying in ${left} second${left === 1 ? "" : "s"}…`;
      return;
    }
    clearInterval(countdown.timer);
    countdown.retries += 1;
    element.textContent = "Retrying…";
    countdown.fire();
  };
  countdown.timer = setInterval(tick, 250);
  tick();
}
