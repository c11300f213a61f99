"""Networks: functions of tensors that know nothing of devices, precision, files or losses."""
