// What outlives a rerun: how often it has fired since the trouble began, and the timer.
const counts = new WeakMap();

const MOST = 8; // times that it asks again by itself
const LONGEST = 15; // seconds between two times, unless the backend names more

export default function ({ parentElement, setTriggerValue, data }) {
  let count = counts.get(parentElement);
  if (!count) counts.set(parentElement, (count = { times: 0 }));
  count.fire = () => setTriggerValue("due", true);
  if (count.token !== data.token) {
    count.token = data.token;
    clearInterval(count.timer);
    run(count, data.seconds, parentElement.querySelector("p"));
  }
  return () => {
    clearInterval(count.timer);
    counts.delete(parentElement);
  };
}

function run(count, seconds, place) {
  if (count.times >= MOST) {
    place.textContent = "It is not asked again by itself any more.";
    return;
  }
  const wait = count.times ? Math.max(seconds, Math.min(2 ** count.times, LONGEST)) : seconds;
  const due = Date.now() + 1000 * wait;
  const tick = () => {
    const left = Math.ceil((due - Date.now()) / 1000);
    if (left > 0) {
      place.textContent = `Trying again in ${left} second${left === 1 ? "" : "s"}…`;
      return;
    }
    clearInterval(count.timer);
    count.times += 1;
    place.textContent = "Trying again…";
    count.fire();
  };
  count.timer = setInterval(tick, 250);
  tick();
}
