variable "application_name" {
  type        = string
  description = "Name of the application; part of every name."
}

variable "environment_name" {
  type        = string
  description = "dev, test or prod."
}

variable "regions" {
  description = "The Azure regions that have a stamp, and what differs between them."
  type = map(object({
    address_space = string
    instances     = number
  }))
}

variable "request_limit" {
  type        = number
  description = "Requests a second that one instance takes."
}

variable "rollout_seconds" {
  type        = number
  default     = 0
  description = "How long new instances take until they serve."
}

variable "cache_tier" {
  type        = string
  default     = "standard"
  description = "Tier of the caches. Another tier makes new, empty ones."
}
