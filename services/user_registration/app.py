"""What runs? Three services that know nothing of each other, and no coordinator."""

from orchestra import App
from services.user_registration.analytics import analytics
from services.user_registration.mail import mail
from services.user_registration.onboarding import onboarding

app = App(services=[mail, onboarding, analytics])
