"""Pages for people: workbench, policies, insights. Demo mode has them on the main listener, else only operators'."""

from cds_service.web.pages import insights as _insights  # noqa: F401 - each adds its routes
from cds_service.web.pages import policies as _policies  # noqa: F401
from cds_service.web.pages import workbench as _workbench  # noqa: F401
from cds_service.web.pages.blueprint import pages as pages
