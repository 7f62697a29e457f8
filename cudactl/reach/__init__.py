"""How we get to hosts: Ansible inventory and the SSH fan-out."""
