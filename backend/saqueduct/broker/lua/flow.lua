-- The end of the function that `lanes.lua` begins.
return flow
end
