// The space of a search: an option with a tick shows its inputs, those of a range or of a list, and only they are sent.

export function start(space) {
  for (const option of space.querySelectorAll(".searched")) {
    const show = () => {
      const ticked = option.querySelector("[data-searched]").checked;
      const way = option.querySelector("[data-way-of]")?.value ?? "choices";
      option.querySelector("[data-values]").hidden = !ticked;
      for (const part of option.querySelectorAll("[data-when]")) {
        part.hidden = part.dataset.when !== way;
        for (const input of part.querySelectorAll("input")) input.disabled = part.hidden || !ticked;
      }
    };
    option.addEventListener("change", show);
    show();
  }
}

/** Whether it is the default space as the page showed it first: then it is not sent, and heeds what the spec names. */
export function untouched(space) {
  return "usual" in space.dataset && ![...space.elements].some(changed);
}

function changed(input) {
  if (input.disabled) return false;
  if (input.type === "checkbox") return input.checked !== input.defaultChecked;
  if (input.tagName === "SELECT") return ![...input.selectedOptions].every((one) => one.defaultSelected);
  return input.value !== input.defaultValue;
}
