// Keeps a page fresh: after each change of the stand-in it fetches the page again and replaces the
// regions marked data-live whose content changed. Forms outside of them, and what is open or chosen
// inside of them, stay as they are.
"use strict";

let busy = false;
let again = false;

function keyOf(element, region) {
  if (element.id) return element.id;
  const owner = element.parentElement.closest("[id]") || region;
  return owner.id + ":" + [...owner.querySelectorAll(element.tagName)].indexOf(element);
}

function remember(region) {
  const state = new Map();
  for (const element of region.querySelectorAll("details")) state.set(keyOf(element, region), element.open);
  for (const element of region.querySelectorAll("select")) state.set(keyOf(element, region), element.value);
  return state;
}

function restore(region, state) {
  for (const element of region.querySelectorAll("details")) {
    const open = state.get(keyOf(element, region));
    if (open !== undefined) element.open = open;
  }
  for (const element of region.querySelectorAll("select")) {
    const value = state.get(keyOf(element, region));
    if (value !== undefined) element.value = value;
  }
}

async function refresh() {
  if (busy) {
    again = true;
    return;
  }
  busy = true;
  try {
    const address = document.querySelector("main").dataset.address || location.href;
    const response = await fetch(address, { cache: "no-store" });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const region of fresh.querySelectorAll("[data-live][id]")) {
      const shown = document.getElementById(region.id);
      if (!shown || shown.dataset.raw === region.innerHTML || shown.innerHTML === region.innerHTML) continue;
      if (shown.contains(document.activeElement) && document.activeElement.tagName === "SELECT") continue;
      const state = remember(shown);
      const raw = region.innerHTML;
      shown.replaceChildren(...region.childNodes);
      shown.dataset.raw = raw;
      restore(shown, state);
    }
    document.title = fresh.title;
  } catch {
    // The stand-in is gone for now; the event source tries again.
  } finally {
    busy = false;
    if (again) {
      again = false;
      refresh();
    }
  }
}

new EventSource("/-/events").onmessage = refresh;
setInterval(refresh, 30000); // for the words "3 minutes ago"
