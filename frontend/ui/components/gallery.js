export default function ({ parentElement, setTriggerValue, data }) {
  parentElement.querySelector("p").textContent = data.title;
  const row = parentElement.querySelector(".row");
  if (row.childElementCount !== data.images.length)
    row.replaceChildren(
      ...data.images.map(({ alt, src }, index) => {
        const button = document.createElement("button");
        button.type = "button";
        button.title = alt;
        button.dataset.index = index;
        const image = new Image();
        image.src = src;
        image.alt = alt;
        button.append(image);
        return button;
      }),
    );
  row.onclick = (event) => {
    const button = event.target.closest("button");
    if (button) setTriggerValue("pick", Number(button.dataset.index));
  };
}
