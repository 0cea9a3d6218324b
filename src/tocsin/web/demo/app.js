// Subscribes this browser with the app's VAPID key and registers it as a device.
// In: #key=tk_…&device=…&user=… in the address (a fragment never reaches a server). Out: what happened, in #log,
// and data-state on <body>: idle, subscribed, received or error.

const asked = new URLSearchParams(location.hash.slice(1));
const key = asked.get("key");
const device = asked.get("device") ?? "this-browser";
const user = asked.get("user") ?? "u1";

const at = (id) => document.getElementById(id);
const state = (name) => { document.body.dataset.state = name; };
const log = (text) => { at("log").textContent += `${text}\n`; };

async function api(method, path, body) {
  const answer = await fetch(path, {
    method,
    headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const json = await answer.json();
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${json.code}: ${json.detail}`);
  return json;
}

function octets(base64url) {
  const text = atob(base64url.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

// A browser that is still starting may never answer what its push service is asked: ask again.
async function patiently(ask, seconds = 2, times = 30) {
  for (let left = times; left > 0; left -= 1) {
    const late = new Promise((resolve) => setTimeout(resolve, seconds * 1000, { late: true }));
    const answered = ask().then((value) => ({ value }));
    const first = await Promise.race([answered, late]);
    if (!first.late) return first.value;
    log("the browser's push service does not answer yet");
  }
  throw new Error("the browser has no connection to its push service");
}

async function subscribe() {
  if (!key) throw new Error("there is no #key=tk_… in the address; tocsin dev prints the whole of it");
  const worker = await navigator.serviceWorker.register("sw.js");
  await navigator.serviceWorker.ready;
  log("service worker: ready");
  const { public_key } = await api("GET", "/v1/web-push/public-key");
  log("VAPID public key: fetched");
  const wanted = octets(public_key);
  let subscription = await patiently(() => worker.pushManager.getSubscription());
  const had = subscription && new Uint8Array(subscription.options.applicationServerKey ?? new ArrayBuffer(0));
  if (had && had.join() !== wanted.join()) {
    await subscription.unsubscribe();
    subscription = null;
  }
  subscription ??= await patiently(() =>
    worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: wanted }),
  );
  const { endpoint, keys } = subscription.toJSON();
  log(`subscribed at ${new URL(endpoint).origin}`);
  await api("PUT", `/v1/devices/${encodeURIComponent(device)}`, {
    provider: "webpush",
    subscription: { endpoint, keys },
    user_id: user,
  });
  log(`registered as device ${device} of user ${user}`);
  at("command").textContent = `tocsin send --device ${device} --title Hi --body "from Tocsin" --watch`;
  state("subscribed");
}

function fail(error) {
  log(`error: ${error.message ?? error}`);
  state("error");
}

navigator.serviceWorker?.addEventListener("message", ({ data }) => {
  if (data.kind === "push") {
    at("message").textContent = JSON.stringify(data.message, null, 2);
    log(`received: ${data.message?.title ?? "(no title)"}`);
    state("received");
  } else if (data.kind === "error") {
    fail(data.text);
  } else {
    log(data.text);
  }
});

at("subscribe").addEventListener("click", () => {
  const granted = Notification.permission === "granted" ? Promise.resolve("granted") : Notification.requestPermission();
  granted.then(subscribe).catch(fail);
});
if (!("serviceWorker" in navigator && "PushManager" in window)) fail("this browser has no Push API here");
else if (key && Notification.permission === "granted") subscribe().catch(fail);
else log("press the button to allow notifications and subscribe");
