// The service worker of the demo page: shows what arrives, posts a signed receipt for it, and tells the page.
// In: the plaintext of a push, {"title", "body", "image", "link", "data", "tocsin": {"delivery", "receipt"}}.

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

async function tell(fact) {
  const pages = await self.clients.matchAll({ type: "window", includeUncontrolled: true });
  for (const page of pages) page.postMessage(fact);
}

async function receipt(message, kind) {
  const token = message?.tocsin?.receipt;
  if (!token) return;
  try {
    const answer = await fetch("/v1/receipts", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ receipt: token, kind }),
    });
    await tell({ kind: "step", text: `receipt ${kind}: ${answer.status}` });
  } catch (error) {
    await tell({ kind: "error", text: `the receipt could not be posted: ${error}` });
  }
}

async function show(message) {
  try {
    await self.registration.showNotification(message.title ?? "Tocsin", {
      body: message.body,
      image: message.image,
      tag: message.tocsin?.delivery,
      data: message,
    });
    await tell({ kind: "step", text: "notification: shown" });
  } catch (error) {
    // a browser without a desktop may refuse to draw; the message arrived all the same
    await tell({ kind: "step", text: `notification: not drawn (${error})` });
  }
}

async function received(data) {
  const message = data?.json() ?? {};
  await Promise.all([show(message), tell({ kind: "push", message }), receipt(message, "delivered")]);
}

self.addEventListener("push", (event) => event.waitUntil(received(event.data)));

self.addEventListener("notificationclick", (event) => {
  const message = event.notification.data;
  event.notification.close();
  const open = message?.link ? self.clients.openWindow(message.link) : Promise.resolve();
  event.waitUntil(Promise.all([receipt(message, "clicked"), open]));
});
