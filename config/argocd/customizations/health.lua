-- The verdict of kstatus, and so of Flux, in Argo CD's words. One thing more: what
-- spec.suspend keeps from being refreshed is Suspended, and Degraded once no token
-- is live, for none will come.
local health = {
  status = "Progressing",
  message = "The operator has not looked at this spec yet",
}
if obj.metadata.deletionTimestamp ~= nil then
  health.message = "It is being deleted"
  return health
end
if obj.status == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return health
end

local is, ready = {}, nil
for _, condition in ipairs(obj.status.conditions or {}) do
  is[condition.type] = condition.status == "True"
  if condition.type == "Ready" then
    ready = condition
  end
end
if ready == nil then
  return health
end

health.message = ready.message
if is["Stalled"] or obj.spec.suspend and not is["Ready"] then
  health.status = "Degraded"
elseif obj.spec.suspend then
  health.status = "Suspended"
elseif is["Ready"] and not is["Reconciling"] then
  health.status = "Healthy"
end
return health
