"""The door that clients of OpenAI's API know: the same journeys under its paths and in its words."""
