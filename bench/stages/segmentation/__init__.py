"""Semantic segmentation by mmseg. Only this package imports mmseg and mmengine's Runner."""

import io
import warnings
from contextlib import redirect_stdout

# The first import warns, and prints, that optional packages and operators are missing, which no ResNet needs. It also
# registers mmseg's data sets and transforms.
with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
    warnings.simplefilter("ignore")
    import mmseg.datasets
    import mmseg.evaluation
    import mmseg.models
