"""From lock and state to a plan (pure), and from an approved plan to a changed host (Ansible)."""
