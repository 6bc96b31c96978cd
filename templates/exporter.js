"use strict";
// Without this script the page is whole; with it, it can come anew by itself, once somebody wants that.
const every = document.querySelector("#every");
const box = every.querySelector("input");
let timer;
const remembered = () => {
  try {
    return localStorage.getItem("nssight-refresh") === "yes";
  } catch {
    return false;
  }
};
const set = () => {
  clearInterval(timer);
  if (box.checked) {
    // A page that nobody sees is not asked for.
    timer = setInterval(() => {
      if (document.visibilityState === "visible") location.reload();
    }, 60_000);
  }
};
box.checked = remembered();
box.addEventListener("change", () => {
  try {
    localStorage.setItem("nssight-refresh", box.checked ? "yes" : "no");
  } catch {
    // It is forgotten with this page.
  }
  set();
});
every.hidden = false;
set();
