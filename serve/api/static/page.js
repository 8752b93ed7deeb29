"use strict";

// URLs of this host, whatever it is called and whatever path it has in front.
for (const place of document.querySelectorAll("[data-url]")) {
  place.textContent = new URL(place.dataset.url, document.baseURI).href;
}

const said = document.getElementById("said");
const copy = document.getElementById("copy");
copy.hidden = false; // without scripts it would do nothing
copy.addEventListener("click", async () => {
  const line = document.getElementById("line");
  try {
    await navigator.clipboard.writeText(line.textContent);
    said.textContent = "Copied.";
  } catch { // a browser gives no clipboard to pages without TLS, but on localhost
    getSelection().selectAllChildren(line);
    said.textContent = "Selected: copy it with the keyboard.";
  }
});

const model = document.getElementById("model");
fetch("readyz")
  .then((answer) => answer.json())
  .then((ready) => {
    model.textContent = ready.model ? `Ready: the model ${ready.model}, version ${ready.version}.` : ready.detail;
  })
  .catch(() => { model.textContent = "The API does not answer just now."; });
