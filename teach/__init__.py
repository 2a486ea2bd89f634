"""Few-shot teaching: a linear head on the features of a backbone.

from teach.local_embedding import LocalEmbedding
from teach.train import train
from teach.types import Example

with LocalEmbedding(Path("models/photos")) as embed:
    model = train(examples, embed, embed.backbone, name="ants-and-bees")
print(model.report.accuracy)
model.write(Path("models/ants-and-bees"))
"""
