const asDataURL = (file) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });

export default function ({ parentElement, setTriggerValue, data }) {
  const say = (text) => (parentElement.querySelector(".live").textContent = text);
  const keys = /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘V" : "Ctrl+V";
  parentElement.querySelector(".hint").textContent = `Or paste a picture with ${keys}.`;

  const paste = async (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    const image = files.find((file) => file.type.startsWith("image/"));
    if (!image) return; // text may well be meant for a field
    event.preventDefault();
    if (image.size > data.most_bytes) return say("That picture is too large.");
    say("");
    setTriggerValue("image", { name: image.name, data: await asDataURL(image) });
  };
  document.addEventListener("paste", paste);
  return () => document.removeEventListener("paste", paste);
}
