// Sends frames of a camera, each one only after the answer to the previous one has arrived.
// A recorder sends frames only while its button is held, or one for each click on the other button.
// State that persists across reruns, by component.
const cameras = new WeakMap();

const MIN_INTERVAL = 500; // ms between two frames
const RESEND_AFTER = 15_000; // ms without an answer, for example after a lost connection
const MAX_SIDE = 640; // px of a frame
const QUALITY = 0.85; // of its JPEG file

const ERRORS = {
  NotAllowedError: "The browser does not allow this page to use the camera. Allow it in the settings of this site, then start again.",
  NotFoundError: "No camera was found. Connect one, then start again.",
  OverconstrainedError: "This camera is no longer available. Start again.",
  NotReadableError: "The camera is in use. Close other programs that use it, then start again.",
};
const INSECURE = "The browser allows the camera only on secure pages. Open this page with https, or on localhost.";

class Camera {
  constructor(root) {
    this.video = root.querySelector("video");
    this.toggle = root.querySelector("[data-act=toggle]");
    this.keep = root.querySelector("[data-act=keep]");
    this.record = root.querySelector("[data-act=record]");
    this.choice = root.querySelector("select");
    this.message = root.querySelector(".message");
    this.announcement = root.querySelector(".announcement");
    this.canvas = document.createElement("canvas");
    this.stream = null;
    this.starts = 0; // a later start or stop makes an earlier one obsolete
    this.pending = null; // id of the frame without an answer
    this.answered = null; // id of the last answered frame
    this.notBefore = 0; // time of the next frame
    this.isRecorder = false;
    this.isHeld = false; // the record button
    this.isSingle = false; // one frame is due
    this.toggle.onclick = () => (this.stream ? this.stop("") : this.start());
    this.choice.onchange = () => this.start(this.choice.value);
    this.record.onpointerdown = (event) => {
      if (event.button) return;
      this.record.setPointerCapture(event.pointerId); // also ends if the pointer leaves the button
      this.hold(true);
    };
    this.record.onpointerup = this.record.onpointercancel = this.record.onblur = () => this.hold(false);
    this.record.oncontextmenu = (event) => event.preventDefault();
    this.record.onkeydown = (event) => {
      if (event.key !== " " && event.key !== "Enter") return;
      event.preventDefault();
      this.hold(true);
    };
    this.record.onkeyup = () => this.hold(false);
    this.keep.onclick = () => {
      if (this.isRecorder) return (this.isSingle = true);
      this.stop("");
      this.send("keep", true);
    };
  }

  setRecorder(isRecorder) {
    this.isRecorder = isRecorder;
    this.record.hidden = !isRecorder;
    if (isRecorder) this.keep.textContent = "Take one image";
  }

  hold(isHeld) {
    this.isHeld = isHeld && this.stream !== null;
    if (this.isHeld) this.isSingle = true; // a short press takes one image
    this.record.setAttribute("aria-pressed", this.isHeld);
    this.record.textContent = this.isHeld ? "Recording…" : "Hold to record";
  }

  async start(deviceId) {
    this.stop("");
    const start = this.starts;
    if (!navigator.mediaDevices?.getUserMedia) return this.show(INSECURE);
    this.show("Starting the camera…");
    const device = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: { ideal: "environment" } };
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { ...device, width: { ideal: 1280 } } });
    } catch (error) {
      if (start === this.starts) this.show(ERRORS[error.name] ?? "The camera could not be started.");
      return;
    }
    if (start !== this.starts) return stream.getTracks().forEach((track) => track.stop());
    this.stream = stream;
    const [track] = stream.getVideoTracks();
    track.onended = () => this.stop("The camera was disconnected.");
    this.video.srcObject = stream;
    this.video.play().catch(() => {});
    this.toggle.textContent = "Stop camera";
    this.record.disabled = false;
    if (this.isRecorder) this.keep.disabled = false;
    this.show("");
    this.timer = setInterval(() => this.tick(), 50);
    await this.listDevices(track.getSettings().deviceId);
  }

  stop(message) {
    this.starts += 1;
    clearInterval(this.timer);
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = this.video.srcObject = this.pending = null;
    this.toggle.textContent = "Start camera";
    this.keep.disabled = this.record.disabled = true;
    this.isSingle = false;
    this.hold(false);
    this.announcement.textContent = "";
    this.show(message);
  }

  async listDevices(current) {
    const devices = await navigator.mediaDevices.enumerateDevices();
    const inputs = devices.filter(({ kind }) => kind === "videoinput");
    this.choice.replaceChildren(
      ...inputs.map(({ label, deviceId }, i) => new Option(label || `Camera ${i + 1}`, deviceId)),
    );
    this.choice.value = current;
    this.choice.parentElement.hidden = inputs.length < 2;
  }

  tick() {
    const { videoWidth: width, videoHeight: height } = this.video;
    const now = Date.now();
    const isWaiting = this.pending !== null && now - this.pending < RESEND_AFTER;
    if (!width || document.hidden || isWaiting || now < this.notBefore) return;
    if (this.isRecorder && !this.isHeld && !this.isSingle) return;
    this.isSingle = false;
    const scale = Math.min(1, MAX_SIDE / Math.max(width, height));
    this.canvas.width = Math.round(scale * width);
    this.canvas.height = Math.round(scale * height);
    this.canvas.getContext("2d").drawImage(this.video, 0, 0, this.canvas.width, this.canvas.height);
    this.pending = now;
    this.send("frame", { id: now, jpeg: this.canvas.toDataURL("image/jpeg", QUALITY) });
  }

  answer({ answered, announcement, message, wait, is_stopped }) {
    if (answered === this.answered) return;
    this.answered = answered;
    if (!this.stream || answered !== this.pending) return;
    this.notBefore = Math.max(this.pending + MIN_INTERVAL, Date.now() + 1000 * wait);
    this.pending = null;
    if (is_stopped) return this.stop(message);
    this.show(message);
    this.keep.disabled = message !== "" && !this.isRecorder;
    // Screen readers read a text only when it changes.
    if (this.announcement.textContent !== announcement) this.announcement.textContent = announcement;
  }

  show(message) {
    if (this.message.textContent !== message) this.message.textContent = message;
  }
}

export default function ({ parentElement, setTriggerValue, data }) {
  let camera = cameras.get(parentElement);
  if (!camera) cameras.set(parentElement, (camera = new Camera(parentElement)));
  camera.send = setTriggerValue;
  camera.setRecorder(data.is_recorder);
  camera.answer(data);
  return () => {
    camera.stop("");
    cameras.delete(parentElement);
  };
}
