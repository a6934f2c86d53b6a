// A place to drop a file, or to choose one; either way ``take`` gets it.

export function dropped(place, take) {
  const input = place.querySelector('input[type="file"]');
  const chosen = () => {
    const [file] = input.files;
    input.value = "";
    if (file) take(file);
  };
  input.addEventListener("change", chosen);
  // one that was chosen before this ran
  chosen();
  place.addEventListener("submit", (event) => event.preventDefault());
  for (const kind of ["dragenter", "dragover"]) {
    place.addEventListener(kind, (event) => {
      event.preventDefault();
      place.classList.add("over");
    });
  }
  for (const kind of ["dragleave", "drop"]) place.addEventListener(kind, () => place.classList.remove("over"));
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}
