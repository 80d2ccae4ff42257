# An object whose successor could not be made wholly: the state keeps it beside the new one, as deposed.
terraform {
  backend "local" {}
}

variable "version_of_it" {
  default = 1
}

resource "terraform_data" "main" {
  input            = "version ${var.version_of_it}"
  triggers_replace = var.version_of_it
  provisioner "local-exec" {
    command = "exit ${var.version_of_it - 1}"
  }
  lifecycle {
    create_before_destroy = true
  }
}
