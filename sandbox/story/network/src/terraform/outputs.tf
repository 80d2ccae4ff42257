output "regions" {
  description = "The regions that have a stamp."
  value       = sort(keys(var.regions))
}
