// What scrolls can be reached, and so scrolled, by the keyboard.
const scrolled = ".picture, pre, .table-wrapper, .cell_output .output, .math";
const reach = () => document.querySelectorAll(scrolled).forEach((box) => {
  if (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight) box.tabIndex = 0;
});

// A picture that is wider than a phone's page is shown whole. A touch shows it in full size, and it scrolls.
const fit = () => document.querySelectorAll(".picture, .e-picture").forEach((box) => {
  if (box.scrollWidth <= box.clientWidth || box.nextElementSibling?.matches(".enlarge")) return;
  const button = document.createElement("button");
  const turn = () => {
    button.textContent = box.classList.toggle("whole") ? "Enlarge the picture" : "Show the whole picture";
    reach();
  };
  button.className = "enlarge";
  for (const touched of [box, button]) touched.addEventListener("click", turn);
  box.after(button);
  turn();
});

const look = () => { fit(); reach(); };
look();
addEventListener("load", look);
addEventListener("resize", look);
document.addEventListener("toggle", look, true);
