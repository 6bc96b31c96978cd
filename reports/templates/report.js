"use strict";
// The page says everything without this; it only copies commands.
const said = document.getElementById("said");
const copyBySelection = (code) => {
  const range = document.createRange();
  range.selectNodeContents(code);
  const selection = getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  return document.execCommand("copy");
};
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  const label = button.firstChild;
  button.addEventListener("click", async () => {
    const code = button.parentElement.querySelector("code");
    let copied;
    try {
      await navigator.clipboard.writeText(code.textContent);
      copied = true;
    } catch {
      // Without a secure context or the permission; at worst the text is selected for Ctrl-C.
      copied = copyBySelection(code);
    }
    label.textContent = copied ? "Copied" : "Selected";
    button.classList.add("done");
    said.textContent = copied ? "The command was copied." : "The command is selected.";
    setTimeout(() => {
      label.textContent = "Copy";
      button.classList.remove("done");
    }, 2000);
  });
}
