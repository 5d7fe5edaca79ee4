"""The fleet: who does which split of work, at what rate, and what has become durable."""
