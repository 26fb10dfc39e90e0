# The public names of condense.testing, each with the module that it lives in.

from .conformance import check_method as check_method
from .conformance import check_plugin as check_plugin
from .conformance import examine_method as examine_method
from .conformance import examine_plugin as examine_plugin
from .findings import CHECKS as CHECKS
from .findings import Finding as Finding
from .findings import Report as Report
from .made_up import made_up_dataset as made_up_dataset
from .made_up import made_up_network as made_up_network
from .observations import real_observation as real_observation
from .observations import synthetic_observation as synthetic_observation
