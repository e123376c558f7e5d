"""Mail: by an SMTP server, or into a folder."""
