const targets = new WeakMap(); // the last requested time of each component
const INTERVAL = 80; // ms between two checks for a player that may still be loading
const ATTEMPTS = 200;

// Seek the player on the page to the selected frame, once for each selection.
export default function ({ parentElement, data }) {
  const previous = targets.get(parentElement);
  targets.set(parentElement, data.time);
  if (previous === data.time || (previous === undefined && data.first)) return;
  seek(parentElement, data.time, ATTEMPTS);
}

function seek(component, time, attempts, wasReady = false) {
  if (targets.get(component) !== time || !attempts) return; // another frame is selected by now
  const video = document.querySelector("video.stVideo");
  const isReady = video?.readyState >= HTMLMediaElement.HAVE_METADATA;
  // Streamlit sets the time once itself when metadata arrives; this must happen after that.
  if (isReady && wasReady) video.currentTime = time;
  else setTimeout(() => seek(component, time, attempts - 1, isReady), INTERVAL);
}
