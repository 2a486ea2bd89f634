"""torchvision, also where it was built for CUDA and torch was not.

Such a torchvision fails on import, for want of two operators that classification does not need;
declaring them is enough. What follows this in the peers is what their documents show.
"""

import torch

try:
    from torchvision import models, transforms
except RuntimeError:
    _SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    torch.library.define("torchvision::nms", _SCHEMA)
    torch.library.define("torchvision::qnms", _SCHEMA)
    from torchvision import models, transforms

__all__ = ["models", "transforms"]
