"""What happens, and who is told? Every event of one user has the same key, so that they stay in order."""

from orchestra import Event, Key


class UserRegistered(Event, type="users.user.registered.v1", topic="users.events"):
    user_id: Key[str]
    name: str
    email: str
    country: str


class WelcomeMailSent(Event, type="users.welcome-mail.sent.v1", topic="users.events"):
    user_id: Key[str]
    email: str


class OnboardingTaskCreated(Event, type="users.onboarding-task.created.v1", topic="users.events"):
    user_id: Key[str]
    assignee: str
