"""Policy from catalogue and lock, and the forms a certificate is shown in."""
