const asDataURL = (file) =>
  new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });

export default function ({ parentElement, setTriggerValue, data }) {
  const showStatus = (text) => (parentElement.querySelector(".live").textContent = text);
  const keys = /Mac|iPhone|iPad/.test(navigator.platform) ? "⌘V" : "Ctrl+V";
  parentElement.querySelector(".hint").textContent = `Or paste an image with ${keys}.`;

  const paste = async (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    const image = files.find((file) => file.type.startsWith("image/"));
    if (!image) return; // the text may be for an input field
    event.preventDefault();
    if (image.size > data.max_bytes) return showStatus("The pasted image is too large.");
    showStatus("");
    setTriggerValue("image", { name: image.name, data: await asDataURL(image) });
  };
  document.addEventListener("paste", paste);
  return () => document.removeEventListener("paste", paste);
}
