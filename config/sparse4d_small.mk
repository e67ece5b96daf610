# sparse4d_small from nothing: drives, three runs of training, package, graph, scores. `make model` runs this with all that
# it needs; what is done is not done again, and a run that was interrupted goes on.

OUT ?= model_from_nothing
DEVICE ?= cpu
PROCESSES ?= $(if $(filter cpu,$(DEVICE)),2,1)
SPARSE4D := python -m sparse4d_ros.cli
TRAIN := python -m torch.distributed.run --standalone --nproc-per-node $(PROCESSES) -m sparse4d_ros.cli train --resume \
	--device $(DEVICE)
DRIVES := $(OUT)/drives
MODEL := $(OUT)/sparse4d_small

$(OUT)/test.json: $(MODEL)/model.onnx $(DRIVES)/test.done
	$(SPARSE4D) evaluate --model $(MODEL) --drives $(DRIVES)/test/drive_* --groups 3 --output $@

$(DRIVES)/%.done: config/%_drives.yaml
	$(SPARSE4D) simulate --suite $< --format arrays --output $(DRIVES)/$*
	touch $@

$(OUT)/first/model.yaml: $(DRIVES)/plain.done
	$(TRAIN) --config config/train_small.yaml --drives $(DRIVES)/plain --output $(OUT)/runs/first
	$(SPARSE4D) pack $(OUT)/runs/first $(@D)

$(OUT)/joint/model.yaml: $(OUT)/first/model.yaml
	$(TRAIN) --config config/train_small_joint.yaml --begin-from $(<D) --drives $(DRIVES)/plain --output $(OUT)/runs/joint
	$(SPARSE4D) pack $(OUT)/runs/joint $(@D)

$(MODEL)/model.onnx: $(OUT)/joint/model.yaml $(DRIVES)/varied.done
	$(TRAIN) --config config/train_small_varied.yaml --begin-from $(<D) --drives $(DRIVES)/plain $(DRIVES)/varied \
		--output $(OUT)/runs/varied
	$(SPARSE4D) pack $(OUT)/runs/varied $(MODEL) --nms-iou 0.1
	$(SPARSE4D) export $(MODEL)
