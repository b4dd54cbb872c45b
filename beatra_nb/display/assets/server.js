/**
 * What the live views share in the page: a word to screen readers, a few DOM helpers, and two ways to reach a busy
 * kernel by the notebook server that stands before it.
 *
 * While a cell runs, a kernel hears nothing from a widget. Its server can interrupt it all the same, and carries
 * messages of the control channel, which a kernel answers in a thread of its own.
 */
export const BY_HAND = "interrupt the kernel (■)";

const REPLY_WITHIN = 4000; // milliseconds in which a kernel's control channel shows that it has heard
const ANNOUNCER = {
  id: "bnl-announcer",
  role: "status",
  "aria-live": "polite",
  style: "position:fixed;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap",
};

/** Whether a notebook server stands behind this page, and knows the kernel. @param {string} kernel */
export function isReachable(kernel) {
  return kernel !== "" && document.getElementById("jupyter-config-data") !== null;
}

/**
 * The address of something of a kernel's at the notebook server, and the token for it.
 * @param {string} kernel the id under which the server knows the kernel
 * @param {string} what
 */
function addressOf(kernel, what) {
  const config = JSON.parse(document.getElementById("jupyter-config-data")?.textContent ?? "{}");
  const base = new URL(config.baseUrl || "/", location.href);
  if (base.origin !== location.origin) throw new Error("the server is elsewhere");
  const path = `api/kernels/${encodeURIComponent(kernel)}/${what}`;
  return { url: new URL(path, base.href.replace(/\/?$/, "/")), token: String(config.token || "") };
}

/** Interrupt a kernel. @param {string} kernel */
export async function interrupt(kernel) {
  const { url, token } = addressOf(kernel, "interrupt");
  /** @type {Record<string, string>} */
  const headers = { "Content-Type": "application/json" };
  if (token) headers.Authorization = `token ${token}`;
  const cookie = /(?:^|;\s*)_xsrf=([^;]*)/.exec(document.cookie);
  if (cookie) headers["X-XSRFToken"] = decodeURIComponent(cookie[1]);
  const response = await fetch(url, { method: "POST", headers, credentials: "same-origin" });
  if (!response.ok) throw new Error(`the server said ${response.status}`);
}

/**
 * Send one message on a kernel's control channel, over a connection of its own, and wait until the kernel shows that
 * it has heard: it reports "busy" and "idle" for every message, with that message as the parent.
 * @param {string} kernel
 * @param {string} type
 * @param {Record<string, unknown>} content
 * @returns {Promise<void>}
 */
export async function tellKernel(kernel, type, content) {
  const { url, token } = addressOf(kernel, "channels");
  const [session, id] = [random(), random()];
  url.protocol = url.protocol.replace("http", "ws");
  url.searchParams.set("session_id", session);
  if (token) url.searchParams.set("token", token);
  const header = { msg_id: id, msg_type: type, username: "", session, version: "5.3", date: new Date().toISOString() };
  const message = { header, parent_header: {}, metadata: {}, content, channel: "control", buffers: [] };
  const socket = new WebSocket(url.href);
  let timer;
  try {
    await new Promise((resolve, reject) => {
      timer = setTimeout(() => reject(new Error("the kernel did not answer")), REPLY_WITHIN);
      socket.onopen = () => socket.send(JSON.stringify(message));
      socket.onmessage = ({ data }) => isAbout(data, id) && resolve(undefined);
      socket.onerror = socket.onclose = () => reject(new Error("the connection failed"));
    });
  } finally {
    clearTimeout(timer);
    socket.close();
  }
}

/** Whether a message of the server answers the one with this id. @param {unknown} data @param {string} id */
function isAbout(data, id) {
  try {
    return typeof data === "string" && JSON.parse(data).parent_header?.msg_id === id;
  } catch {
    return false;
  }
}

function random() {
  // Not crypto.randomUUID, which pages over plain http do not have.
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Hold the place while the finished view comes in, so that the page does not jump. @param {HTMLElement} node */
export function keepHeight(node) {
  const area = /** @type {HTMLElement | null} */ (node.closest(".jp-OutputArea"));
  if (!area || area.style.minHeight) return;
  area.style.minHeight = `${area.offsetHeight}px`;
  setTimeout(() => area.style.removeProperty("min-height"), 600);
}

/** Say something to screen readers: the start and the end, never each step. @param {string} text */
export function announce(text) {
  const node = document.getElementById("bnl-announcer") ?? make("div", "", ANNOUNCER);
  if (!node.isConnected) document.body.append(node);
  // The same words again would be no change, and nobody would hear them.
  node.textContent = text && node.textContent === text ? `${text}\u00a0` : text;
}

/** A time as players show it: 0:07, 3:05, 1:02:05. @param {number} seconds */
export function clock(seconds) {
  const whole = Number.isFinite(seconds) ? Math.max(0, Math.floor(seconds)) : 0;
  const [hours, minutes, left] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return hours ? `${hours}:${two(minutes)}:${two(left)}` : `${minutes}:${two(left)}`;
}

/**
 * @param {string} tag
 * @param {string} names
 * @param {Record<string, string>} [attrs]
 * @param {string} [text]
 * @returns {any}
 */
export function make(tag, names, attrs = {}, text = "") {
  const node = document.createElement(tag);
  if (names) node.className = names;
  for (const [name, value] of Object.entries(attrs)) node.setAttribute(name, value);
  if (text) node.textContent = text;
  return node;
}
