// Streamlit's uploader sends all files at the same moment and draws its list anew at each: a browser
// loses most of a folder of thousands, and takes minutes for the rest. Many files are packed into
// zips here, without compression, and the uploader is given those instead.
const MANY = 100;
const MOST_BYTES = 150e6; // of one zip, or what the server takes where that is less
const MOST_FILES = 10_000;

const TABLE = new Uint32Array(256).map((_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

// The numbers of a header, each as [value, bytes], little-endian.
function header(...numbers) {
  const view = new DataView(new ArrayBuffer(numbers.reduce((sum, [, size]) => sum + size, 0)));
  let place = 0;
  for (const [value, size] of numbers) {
    if (size === 2) view.setUint16(place, value, true);
    else view.setUint32(place, value, true);
    place += size;
  }
  return view.buffer;
}

class Zip {
  constructor() {
    [this.parts, this.index, this.size, this.count] = [[], [], 0, 0];
  }

  // `body` is what `bytes` were read from: a file stays on the disk until it is sent.
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

async function pack(named, most) {
  const zips = [];
  let zip = new Zip();
  const folders = new Set(named.map(([path]) => path.replace(/^\/+/, "").split("/").slice(0, -1)[0] ?? ""));
  const folder = folders.size === 1 ? [...folders][0] : "";
  const close = () => zips.push(zip.file(`${zip.count} pictures${folder && ` of ${folder}`}.zip`));
  for (const [path, file] of named) {
    if (zip.count && (zip.size + file.size > most || zip.count === MOST_FILES)) {
      close();
      zip = new Zip();
    }
    const plain = path.replace(/[\\:\0]/g, "_").replace(/^\/+/, "");
    try {
      zip.add(plain, new Uint8Array(await file.arrayBuffer()), file);
    } catch {
      zip.add(plain, new Uint8Array(), ""); // unreadable; of an empty file the page says so
    }
  }
  if (zip.count) close();
  return zips;
}

// Every file below these entries of a drop, as [path, file].
async function below(entries) {
  const found = [];
  for (const entry of entries) {
    if (entry.isFile) {
      found.push([entry.fullPath, await new Promise((give, fail) => entry.file(give, fail))]);
      continue;
    }
    const reader = entry.createReader();
    let some;
    do {
      some = await new Promise((give, fail) => reader.readEntries(give, fail)); // 100 at a time
      found.push(...(await below(some)));
    } while (some.length);
  }
  return found;
}

export default function ({ parentElement, data }) {
  const most = Math.min(MOST_BYTES, data.most);
  const inside = `.st-key-${data.place}`;
  const say = (text) => (parentElement.querySelector("p").textContent = text);

  const hand = async (input, named) => {
    const isWanted = ([path]) =>
      !/\.zip$/i.test(path) && data.endings.includes(path.split(".").at(-1).toLowerCase());
    const pictures = named.filter(isWanted);
    if (!pictures.length) return say("There are no pictures in it.");
    say(`Packing ${pictures.length} pictures…`);
    const carrier = new DataTransfer();
    const isTaken = ([path]) => data.endings.includes("zip") && /\.zip$/i.test(path);
    const ready = named.filter(isTaken).map(([, file]) => file);
    for (const zip of [...ready, ...(await pack(pictures, most))]) carrier.items.add(zip);
    input.files = carrier.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    say("");
  };

  const change = (event) => {
    const { target } = event;
    if (!target.matches?.(`${inside} input[type=file]`) || target.files.length <= MANY) return;
    event.stopImmediatePropagation();
    hand(target, [...target.files].map((file) => [file.webkitRelativePath || file.name, file]));
  };

  const drop = async (event) => {
    const input = event.target.closest?.(inside)?.querySelector("input[type=file]");
    const { items, files } = event.dataTransfer ?? {};
    if (!input || !files) return;
    const entries = [...items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const hasFolder = entries.some((entry) => entry.isDirectory);
    if (!hasFolder && files.length <= MANY) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const plain = [...files].map((file) => [file.name, file]);
    event.target.dispatchEvent(new DragEvent("dragleave", { bubbles: true }));
    hand(input, hasFolder ? await below(entries) : plain);
  };

  document.addEventListener("change", change, true);
  document.addEventListener("drop", drop, true);
  return () => {
    document.removeEventListener("change", change, true);
    document.removeEventListener("drop", drop, true);
  };
}
