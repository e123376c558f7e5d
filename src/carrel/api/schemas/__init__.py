"""What goes over the wire, by subject: requests refuse unknown fields, answers are what the contract lists."""
