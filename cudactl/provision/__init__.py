"""From lock and state to a plan, and from a plan to a changed host (Ansible)."""
