variable "name" {
  type = string
}

variable "location" {
  type = string
}

variable "address_space" {
  type = string
}

variable "instances" {
  type = number
}

variable "request_limit" {
  type = number
}

variable "rollout_seconds" {
  type = number
}

variable "cache_tier" {
  type = string
}
