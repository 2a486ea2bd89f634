const known = new WeakMap();
const SOON = 80; // ms between two looks for a player that may still be loading
const TRIES = 200;

// Brings the player on the page to the frame that was picked, once for each pick.
export default function ({ parentElement, data }) {
  const before = known.get(parentElement);
  known.set(parentElement, data.time);
  if (before === data.time || (before === undefined && data.first)) return;
  bring(parentElement, data.time, TRIES);
}

function bring(place, time, tries, wasReady = false) {
  if (known.get(place) !== time || !tries) return; // another frame has been picked meanwhile
  const video = document.querySelector("video.stVideo");
  const isReady = video?.readyState >= HTMLMediaElement.HAVE_METADATA;
  // Streamlit sets the time once itself, as soon as there is metadata: ours comes after that.
  if (isReady && wasReady) video.currentTime = time;
  else setTimeout(() => bring(place, time, tries - 1, isReady), SOON);
}
