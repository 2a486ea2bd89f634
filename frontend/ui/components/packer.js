// Streamlit's uploader sends all files at once and redraws its list for each one: a browser loses
// most of a folder of thousands of files, and needs minutes for the rest. This component packs many
// files into uncompressed zips, and passes those to the uploader.
const MIN_FILES = 100; // more files than this are packed
const MAX_ZIP_BYTES = 150e6; // or the upload limit of the server, if that is lower
const MAX_ZIP_FILES = 10_000;

const TABLE = new Uint32Array(256).map((_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

// Return the little-endian header of numbers, each given as [value, bytes].
function header(...numbers) {
  const view = new DataView(new ArrayBuffer(numbers.reduce((sum, [, size]) => sum + size, 0)));
  let offset = 0;
  for (const [value, size] of numbers) {
    if (size === 2) view.setUint16(offset, value, true);
    else view.setUint32(offset, value, true);
    offset += size;
  }
  return view.buffer;
}

class Zip {
  constructor() {
    [this.parts, this.index, this.size, this.count] = [[], [], 0, 0];
  }

  // `body` is the source of `bytes`: a File remains on disk until it is sent.
  add(path, bytes, body) {
    const name = new TextEncoder().encode(path);
    const [utf8, stored, time, date] = [[0x800, 2], [0, 2], [0, 2], [0x21, 2]];
    const length = [bytes.length, 4];
    const about = [utf8, stored, time, date, [crc32(bytes), 4], length, length, [name.length, 2]];
    const local = header([0x04034b50, 4], [20, 2], ...about, [0, 2]);
    const rest = [[0, 2], [0, 2], [0, 2], [0, 2], [0, 4], [this.size, 4]];
    this.index.push(header([0x02014b50, 4], [20, 2], [20, 2], ...about, ...rest), name);
    this.parts.push(local, name, body);
    this.size += local.byteLength + name.length + bytes.length;
    this.count += 1;
  }

  file(name) {
    const index = new Blob(this.index);
    const count = [this.count, 2];
    const end = header([0x06054b50, 4], [0, 2], [0, 2], count, count, [index.size, 4], [this.size, 4], [0, 2]);
    return new File([...this.parts, index, end], name, { type: "application/zip" });
  }
}

async function pack(entries, maxBytes) {
  const zips = [];
  let zip = new Zip();
  const folders = new Set(entries.map(([path]) => path.replace(/^\/+/, "").split("/").slice(0, -1)[0] ?? ""));
  const folder = folders.size === 1 ? [...folders][0] : "";
  const close = () => zips.push(zip.file(`${zip.count} images${folder && ` from ${folder}`}.zip`));
  for (const [path, file] of entries) {
    if (zip.count && (zip.size + file.size > maxBytes || zip.count === MAX_ZIP_FILES)) {
      close();
      zip = new Zip();
    }
    const safePath = path.replace(/[\\:\0]/g, "_").replace(/^\/+/, "");
    try {
      zip.add(safePath, new Uint8Array(await file.arrayBuffer()), file);
    } catch {
      zip.add(safePath, new Uint8Array(), ""); // unreadable; the page reports an empty file
    }
  }
  if (zip.count) close();
  return zips;
}

// Return all files below the entries of a drop, as [path, file].
async function listFiles(entries) {
  const files = [];
  for (const entry of entries) {
    if (entry.isFile) {
      files.push([entry.fullPath, await new Promise((resolve, reject) => entry.file(resolve, reject))]);
      continue;
    }
    const reader = entry.createReader();
    let batch;
    do {
      batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // up to 100
      files.push(...(await listFiles(batch)));
    } while (batch.length);
  }
  return files;
}

export default function ({ parentElement, data }) {
  const maxBytes = Math.min(MAX_ZIP_BYTES, data.max_bytes);
  const inside = `.st-key-${data.container}`;
  const showStatus = (text) => (parentElement.querySelector("p").textContent = text);

  const submit = async (input, entries) => {
    const isImage = ([path]) =>
      !/\.zip$/i.test(path) && data.extensions.includes(path.split(".").at(-1).toLowerCase());
    const images = entries.filter(isImage);
    if (!images.length) return showStatus("This folder contains no images.");
    showStatus(`Packing ${images.length} images…`);
    const transfer = new DataTransfer();
    const isZip = ([path]) => data.extensions.includes("zip") && /\.zip$/i.test(path);
    const zips = entries.filter(isZip).map(([, file]) => file);
    for (const zip of [...zips, ...(await pack(images, maxBytes))]) transfer.items.add(zip);
    input.files = transfer.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    showStatus("");
  };

  const change = (event) => {
    const { target } = event;
    if (!target.matches?.(`${inside} input[type=file]`) || target.files.length <= MIN_FILES) return;
    event.stopImmediatePropagation();
    submit(target, [...target.files].map((file) => [file.webkitRelativePath || file.name, file]));
  };

  const drop = async (event) => {
    const input = event.target.closest?.(inside)?.querySelector("input[type=file]");
    const { items, files } = event.dataTransfer ?? {};
    if (!input || !files) return;
    const entries = [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const hasFolder = entries.some((entry) => entry.isDirectory);
    if (!hasFolder && files.length <= MIN_FILES) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const plainFiles = [...files].map((file) => [file.name, file]);
    event.target.dispatchEvent(new DragEvent("dragleave", { bubbles: true }));
    submit(input, hasFolder ? await listFiles(entries) : plainFiles);
  };

  document.addEventListener("change", change, true);
  document.addEventListener("drop", drop, true);
  return () => {
    document.removeEventListener("change", change, true);
    document.removeEventListener("drop", drop, true);
  };
}
