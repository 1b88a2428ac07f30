module gatehouse.im/gatehouse/integration/docker

go 1.26.0

require gatehouse.im/gatehouse v0.0.0

replace gatehouse.im/gatehouse => ../..
