"""Views of an image: declared as data (`spec`), drawn at random (`draw`), and made by one of four back ends.

The order of the steps: crop and resize, flip, colour jitter, photometric steps (`photometric`), grey (before the jitter
where a view says `grey_first`), blur, solarize (Grill et al., "Bootstrap Your Own Latent", 2020, appendix B; Chen et
al., SimCLR, 2020, appendix A), strong steps (`strong`). The single steps are torchvision's and Pillow's.

That is the back end `reference` (`pillow`). Two others make the same views from the same `Drawn`: `fast` (`opencv`,
image by image) and `device` (whole batches). How far they are from the reference at most, as mean absolute
difference / its 99th percentile in grey levels, on smooth images and on noise alike:

| step                             | fast      | device    |
|----------------------------------|-----------|-----------|
| crop, resize, solarize           | 0.02 / 1  | 0.02 / 1  |
| flip (of the same crop)          | 0         | 0         |
| brightness, contrast, saturation | 0         | 0.02 / 1  |
| hue                              | 0         | 1.5 / 8   |
| grey, also before the jitter     | 0         | 0.02 / 1  |
| blur                             | 0.45 / 3  | 0.4 / 2   |
| all of it, every step done       | 0.45 / 3  | 1.5 / 8   |
| strong, of the same pixels       | 0         | 0         |

The difference in hue of `device` comes from Pillow, which keeps hue and saturation in 8 bits, fractions cut off. That
in blur of `fast` is at edges. tests/data/test_backends.py holds both to that.

A fourth, `resident`, has the split on the device and draws there, too (`batch_draw`), by the laws of `draw` but from
other random numbers: other views than those, with the pixels of `device` for equal parameters.

Back ends are imported from their modules.
"""

from bench.data.views.batch import Batch, normalised
from bench.data.views.spec import (
    BYOL_VIEWS,
    LOCAL_CROPS,
    MOCO_V2_VIEWS,
    MOCO_VIEWS,
    SIMCLR_VIEWS,
    SMALL_VIEW,
    SQUARE_VIEW,
    SUPERVISED_VIEW,
    Interpolation,
    View,
    small_views,
)
from bench.nn.colour import MEAN, STD
