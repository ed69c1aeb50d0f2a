"""Locust's part of the shape: how many users there are. When each of them asks is the plan's business."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from locust import LoadTestShape


class Steady(LoadTestShape):
    """The same number of users, all there at once, until `over` says so."""

    abstract: ClassVar[bool] = True
    users: ClassVar[int] = 1

    @abstractmethod
    def over(self) -> bool: ...

    def tick(self) -> tuple[int, float] | None:
        return None if self.over() else (self.users, float(self.users))
