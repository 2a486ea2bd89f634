"""The learning curves of a training run."""

from matplotlib.figure import Figure

from training.fit.loop import Record


def curves(history: list[Record]) -> Figure:
    """Loss, share read wrongly and learning rate of each epoch."""
    epochs = [record["epoch"] for record in history]
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    loss, error, rate = figure.subplots(1, 3)
    for name, label in (("loss", "training, smoothed labels"), ("validation_loss", "validation")):
        loss.plot(epochs, [record[name] for record in history], marker=".", label=label)
    loss.legend()
    for name in (name for name in history[0] if name.startswith("accuracy_")):
        label = name.removeprefix("accuracy_").replace("_", " ")
        error.plot(epochs, [1 - record[name] for record in history], marker=".", label=label)
    error.legend()
    rate.plot(epochs, [record["rate"] for record in history], marker=".")
    for axes, title in ((loss, "loss"), (error, "share read wrongly"), (rate, "learning rate")):
        axes.set(title=title, xlabel="epoch", yscale="log")
    return figure
