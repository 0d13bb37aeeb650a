"""What changes during training: radius, weight of the natural loss, CROWN-IBP's mixture, learning rate."""

from dataclasses import dataclass

from tightrope.errors import InputError, UnknownNameError

#: Learning rates: divided by 10 at each of `milestones`, halved every `halving` epochs, from the start or after the
#: ramp-up, or "constant" for neither.
LEARNING_RATES = ("milestones", "steps", "late steps", "constant")


@dataclass(frozen=True)
class Schedule:
    """Warm-up by natural training, then a linear ramp, then the rest at full strength.

    Of N = `epochs`, the first N_w = `warm_up` train naturally and the N_r = `ramp_up` after them ramp up; `epsilon`, in
    pixel units, is reached at their end from `epsilon_start`, and the weight of the natural loss goes from
    `kappa_start` to `kappa_end`. The learning rate starts at alpha and falls by one of :data:`LEARNING_RATES`;
    milestones are counted in 200ths of the epochs (for other numbers than 200 they move in proportion), `halving` in
    epochs.

    Examples
    --------
    >>> schedule = Schedule(epochs=200, warm_up=10, ramp_up=50, epsilon=0.3, kappa_end=0.5)
    >>> [schedule.epsilon_at(e) for e in (5, 35, 60)], [schedule.kappa_at(e) for e in (5, 35, 60)]
    ([0.0, 0.15, 0.3], [1.0, 0.75, 0.5])
    """

    epochs: int
    warm_up: int = 0
    ramp_up: int = 0
    epsilon: float = 0.0
    kappa_start: float = 1.0
    kappa_end: float = 0.0
    learning_rate: float = 5e-4
    learning_rates: str = "milestones"
    epsilon_start: float = 0.0
    milestones: tuple[float, ...] = (130, 190)
    halving: int = 20

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", tuple(self.milestones))  # a list in files
        if not 0 <= self.epsilon < float("inf"):
            raise InputError(f"epsilon: expected a radius >= 0 in pixel units, got {self.epsilon!r}.")
        if min(self.epochs, self.warm_up, self.ramp_up) < 0 or self.warm_up + self.ramp_up > self.epochs:
            raise InputError(
                f"warm_up={self.warm_up}, ramp_up={self.ramp_up}: they must be >= 0 and fit in epochs={self.epochs}."
            )
        for name in ("kappa_start", "kappa_end"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name}: expected a number from 0 to 1, got {getattr(self, name)!r}.")
        if not 0 < self.learning_rate < float("inf"):
            raise InputError(f"learning_rate: expected a positive number, got {self.learning_rate!r}.")
        if self.learning_rates not in LEARNING_RATES:
            raise UnknownNameError("learning_rates", self.learning_rates, LEARNING_RATES)
        if not 0 <= self.epsilon_start <= self.epsilon:
            raise InputError(
                f"epsilon_start: expected a radius from 0 to epsilon={self.epsilon:g}, got {self.epsilon_start!r}."
            )
        if self.halving < 1 or not all(0 < milestone <= 200 for milestone in self.milestones):
            raise InputError(
                f"halving={self.halving}, milestones={self.milestones}: halving must be at least 1, "
                "milestones from 0 to 200."
            )

    def ramp(self, epoch: float) -> float:
        """How far the ramp-up is, 0 to 1, at a time counted in epochs from 0, fractions allowed."""
        if epoch < self.warm_up:
            return 0.0
        return min(1.0, (epoch - self.warm_up) / self.ramp_up) if self.ramp_up else 1.0

    def epsilon_at(self, epoch: float) -> float:
        """The radius; 0 during the warm-up."""
        if epoch < self.warm_up:
            return 0.0
        return self.epsilon_start + (self.epsilon - self.epsilon_start) * self.ramp(epoch)

    def kappa_at(self, epoch: float) -> float:
        """The weight of the natural loss."""
        if epoch < self.warm_up:
            return 1.0
        return self.kappa_start + (self.kappa_end - self.kappa_start) * self.ramp(epoch)

    def beta_at(self, epoch: float) -> float:
        """CROWN-IBP's weight of CROWN-IBP (R), from 1 to 0 along the ramp-up; Box has the rest."""
        return 1.0 - self.ramp(epoch)

    def learning_rate_at(self, epoch: int) -> float:
        """The learning rate of a whole epoch."""
        match self.learning_rates:
            case "steps":
                return self.learning_rate * 0.5 ** (epoch // self.halving)
            case "late steps":
                return self.learning_rate * 0.5 ** (max(0, epoch - self.warm_up - self.ramp_up) // self.halving)
            case "milestones":
                passed = sum(200 * epoch >= milestone * self.epochs for milestone in self.milestones)
                return self.learning_rate * 0.1**passed
        return self.learning_rate
