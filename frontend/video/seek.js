const known = new WeakMap();

// Brings the player on the page to the frame that was picked, once for each pick.
export default function ({ parentElement, data }) {
  const before = known.get(parentElement);
  known.set(parentElement, data.time);
  if (before === data.time || (before === undefined && data.time === 0)) return;
  const video = document.querySelector("video.stVideo");
  if (!video) return;
  const seek = () => {
    video.currentTime = data.time;
  };
  if (video.readyState >= HTMLMediaElement.HAVE_METADATA) seek();
  else video.addEventListener("loadedmetadata", () => setTimeout(seek), { once: true });
}
