const announced = new WeakMap();
const LAYOUT_DELAY = 300; // ms until the content below is laid out and can be scrolled

export default function ({ parentElement, data }) {
  if (announced.get(parentElement) === data.token) return;
  announced.set(parentElement, data.token);
  const message = parentElement.querySelector(".message");
  message.textContent = data.message;
  message.style.scrollMarginTop = data.margin;
  const timer = setTimeout(() => reveal(message), LAYOUT_DELAY);
  for (const event of ["pointerdown", "keydown"]) // scrolling would close an open option list
    addEventListener(event, () => clearTimeout(timer), { once: true, capture: true });
}

function reveal(element) {
  const { top } = element.getBoundingClientRect();
  if (top >= 0 && top < 0.6 * window.innerHeight) return;
  const reducedMotion = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block: "start", behavior: reducedMotion ? "auto" : "smooth" });
}
