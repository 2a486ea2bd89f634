const known = new WeakMap();
const SETTLED = 300; // ms until what comes below is laid out: before, there is nowhere to scroll

export default function ({ parentElement, data }) {
  if (known.get(parentElement) === data.token) return;
  known.set(parentElement, data.token);
  const said = parentElement.querySelector(".said");
  said.textContent = data.says;
  setTimeout(() => reveal(said), SETTLED);
}

function reveal(place) {
  if (place.getBoundingClientRect().top < 0.6 * window.innerHeight) return;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  place.scrollIntoView({ block: "start", behavior: calm ? "auto" : "smooth" });
}
