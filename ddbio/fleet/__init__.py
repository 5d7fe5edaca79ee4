"""The fleet: who does which unit of work, at what rate, and what has become durable."""
