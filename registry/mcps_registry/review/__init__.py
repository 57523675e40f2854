"""What an approver looks at before signing, and the entry that gets signed."""
