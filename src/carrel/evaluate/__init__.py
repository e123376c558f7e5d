"""Evaluation: how well questions whose answers are known find them, through the same journeys as everybody's."""
