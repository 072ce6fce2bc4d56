"""What margins say: reports, their files and pages, why they changed, and whether they hold."""
